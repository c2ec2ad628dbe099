//! Seeded Brazilian bank data, as a pure function of a [`plan::Plan`].
//!
//! Data flows one way: [`catalog`] → [`rng`] → `entity` → `event` → [`encode`] → [`batch`]. There is
//! no I/O, clock or thread here; the binding crate adds those.

pub mod batch;
pub mod brazil;
pub mod catalog;
pub mod civil;
pub mod column;
pub mod encode;
pub mod entity;
pub mod error;
pub mod event;
pub mod id;
pub mod keys;
pub mod order;
pub mod plan;
pub mod reconcile;
pub mod rng;
