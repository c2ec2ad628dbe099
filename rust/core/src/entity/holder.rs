//! Customers as those who hold products: found once by a thread for all that asks for them one after the other.
//!
//! Products, movements and payments between customers all ask for the same few customers, in the order of rows or near
//! it. A thread keeps those that it found last; what is kept is a function of plan and row, so it changes no value.

use std::cell::{OnceCell, RefCell};

use super::Context;
use super::account::pix_key;
use super::customer::{Customer, Pieces};
use super::household::Neighbours;
use super::skeleton::Skeleton;
use crate::catalog::AccountPixKeyType;
use crate::plan::Plan;

/// Rows that are kept: as many as pay one another.
const KEPT: usize = 128;

/// A customer, and what follows from who they are once it is asked for.
#[derive(Debug)]
pub struct Holder {
    /// Who they are.
    pub customer: Customer,
    life: OnceCell<Skeleton>,
    name: OnceCell<Pieces>,
    cpf: OnceCell<[u8; 11]>,
    pix_key: OnceCell<String>,
}

/// What a thread found last.
struct Recent {
    plan: Option<Plan>,
    /// By the last bits of their rows.
    holders: Vec<Option<Holder>>,
    /// Those of the last row that was not kept.
    neighbours: Option<Neighbours>,
}

thread_local! {
    static RECENT: RefCell<Recent> =
        const { RefCell::new(Recent { plan: None, holders: Vec::new(), neighbours: None }) };
}

impl Recent {
    fn find(&mut self, context: &Context, row: u64) -> &Holder {
        if self.plan != Some(context.plan) {
            self.plan = Some(context.plan);
            self.holders = (0..KEPT).map(|_| None).collect();
            self.neighbours = None;
        }
        let holder = &mut self.holders[row as usize % KEPT];
        if holder.as_ref().is_none_or(|holder| holder.customer.row != row) {
            let neighbours = match &mut self.neighbours {
                Some(neighbours) if neighbours.contain(row) => neighbours,
                others => others.insert(Neighbours::of(context, row)),
            };
            let customer = Customer::among(context, neighbours, row);
            *holder = Some(Holder::new(customer));
        }
        holder.as_ref().expect("one that was just found")
    }
}

impl Holder {
    fn new(customer: Customer) -> Self {
        let (life, name) = (OnceCell::new(), OnceCell::new());
        let (cpf, pix_key) = (OnceCell::new(), OnceCell::new());
        Self { customer, life, name, cpf, pix_key }
    }

    /// Takes something of the customer of a row. `take` must not ask for another customer.
    pub fn with<R>(context: &Context, row: u64, take: impl FnOnce(&Self) -> R) -> R {
        RECENT.with_borrow_mut(|recent| take(recent.find(context, row)))
    }

    /// How they live.
    pub fn life(&self, context: &Context) -> &Skeleton {
        self.life.get_or_init(|| Skeleton::new(context, &self.customer))
    }

    /// The pieces of the name.
    pub fn name(&self) -> &Pieces {
        self.name.get_or_init(|| self.customer.name())
    }

    /// CPF.
    pub fn cpf(&self, context: &Context) -> &[u8; 11] {
        self.cpf.get_or_init(|| self.customer.cpf(context))
    }

    /// The registered Pix key, which is of the one kind that [`pix_key_kind`](super::account::pix_key_kind) says.
    pub fn pix_key(&self, context: &Context, kind: AccountPixKeyType) -> &str {
        self.pix_key.get_or_init(|| pix_key(context, kind, &self.customer))
    }
}
