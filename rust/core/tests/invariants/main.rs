//! What holds for the rows of every plan, worked out here apart from the core.

#![allow(missing_docs, reason = "a test crate")]

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod bills;
mod cards;
mod customers;
mod loans;
mod products;
mod relations;
mod symbols;
mod trades;
mod worlds;
