//! One suite for all models of IOMMUs: what every architecture promises, each in its own words.
//!
//! A model says in a [`Model`](model::Model) how its units are made, how a guest writes tables for it, and by which numbers it
//! reports faults. The tests compare it with maps of pages that share no code with it.

#![expect(clippy::unwrap_used, reason = "in a test, an error is a failure")]

mod composition;
mod faults;
mod guest;
mod hostile;
mod model;
mod naive;
mod nested;
mod single_stage;
mod smmuv3;
mod staleness;
mod stress;
mod tables;
mod vtd;

/// Makes a module of tests for each model, from functions that are generic over it.
macro_rules! for_every_model {
    ($($module:ident: $model:ty;)*) => {
        $(mod $module {
            #[test]
            fn both_stages_compose() {
                super::composition::both_stages_compose::<$model>();
            }

            #[test]
            fn large_leaves_compose() {
                super::composition::large_leaves_compose::<$model>();
            }

            #[test]
            fn one_stage_is_a_map() {
                super::single_stage::one_stage_is_a_map::<$model>();
            }

            #[test]
            fn each_fault_names_its_stage_level_and_address() {
                super::faults::each_fault_names_its_stage_level_and_address::<$model>();
            }

            #[test]
            fn a_fault_of_stage_1_comes_before_one_of_stage_2() {
                super::faults::a_fault_of_stage_1_comes_before_one_of_stage_2::<$model>();
            }

            #[test]
            fn the_fault_is_that_of_the_first_page_that_fails() {
                super::faults::the_fault_is_that_of_the_first_page_that_fails::<$model>();
            }

            #[test]
            fn nothing_is_staler_than_it_may_be() {
                super::staleness::nothing_is_staler_than_it_may_be::<$model>();
            }

            #[test]
            fn what_may_be_kept_is_kept() {
                super::staleness::what_may_be_kept_is_kept::<$model>();
            }

            #[test]
            fn tables_are_kept_until_entries_are_invalidated() {
                super::staleness::tables_are_kept_until_entries_are_invalidated::<$model>();
            }

            #[test]
            fn a_large_leaf_is_invalidated_in_all_its_pieces() {
                super::staleness::a_large_leaf_is_invalidated_in_all_its_pieces::<$model>();
            }

            #[test]
            fn nobody_uses_what_was_invalidated() {
                super::stress::nobody_uses_what_was_invalidated::<$model>();
            }

            #[test]
            fn hostile_tables_lead_to_faults_or_to_the_guests_own_memory() {
                super::hostile::tables_lead_to_faults_or_to_the_guests_own_memory::<$model>();
            }
        })*
    };
}

for_every_model! {
    arm_smmuv3: crate::smmuv3::Smmuv3;
    intel_vtd: crate::vtd::Vtd;
}
