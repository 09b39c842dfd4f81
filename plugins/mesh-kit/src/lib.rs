//! What mesh adapters share: catalogues of versions, sample applications, injection, detection, steps.
//!
//! An ordinary library over the plugin API, linked into each adapter. It knows no mesh by name: labels, charts and
//! annotations are arguments. Like the adapters it is pure, so everything here works on facts and returns data.
//!
//! What surprised us: objects in a list come without `apiVersion` and `kind`, so nothing here reads those from an
//! object; a reference is made from what the caller knows it asked for.
#![deny(missing_docs)]

pub mod adoption;
pub mod annotation;
pub mod application;
pub mod catalogue;
pub mod certificate;
pub mod chart_tests;
pub mod contract;
pub mod custom;
pub mod cut_off;
pub mod documentation;
pub mod dropped;
pub mod example;
pub mod expiry;
pub mod injection;
pub mod injection_proof;
pub mod manifest;
pub mod members;
pub mod mesh_releases;
pub mod namespace;
pub mod need;
pub mod object;
pub mod operation_table;
pub mod owner;
pub mod ownership;
pub mod parameter;
pub mod platform;
pub mod precheck;
pub mod prospect;
pub mod readable;
pub mod reconciler;
pub mod review;
pub mod rollback;
pub mod rollout;
pub mod sample;
pub mod schema;
pub mod skew;
pub mod step;
pub mod unreleased;
pub mod values;
pub mod webhook;
pub mod workload;
