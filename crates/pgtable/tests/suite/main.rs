//! The tests of the crate as its users see it: golden vectors, and one suite for every format.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod concurrent;
mod corrupt;
mod failure;
mod formats;
mod golden;
mod interference;
mod model;
mod operations;
mod support;

/// Makes a module of tests for each format, from functions that are generic over it.
macro_rules! for_every_format {
    ($($module:ident: $format:expr;)*) => {
        $(mod $module {
            use super::*;

            #[test]
            fn every_leaf_size_goes_around() {
                operations::every_leaf_size_goes_around($format);
            }

            #[test]
            fn runs_cross_the_boundaries_of_all_levels() {
                operations::runs_cross_the_boundaries_of_all_levels($format);
            }

            #[test]
            fn several_runs_are_laid_out_one_by_one() {
                operations::several_runs_are_laid_out_one_by_one($format);
            }

            #[test]
            fn allowed_sizes_restrict_the_leaves() {
                operations::allowed_sizes_restrict_the_leaves($format);
            }

            #[test]
            fn an_overlap_is_refused_and_nothing_changes() {
                operations::an_overlap_is_refused_and_nothing_changes($format);
            }

            #[test]
            fn a_cut_leaf_goes_whole() {
                operations::a_cut_leaf_goes_whole($format);
            }

            #[test]
            fn whole_tables_are_taken_out_and_freed_by_hand() {
                operations::whole_tables_are_taken_out_and_freed_by_hand($format);
            }

            #[test]
            fn a_large_leaf_takes_the_place_of_an_empty_table() {
                operations::a_large_leaf_takes_the_place_of_an_empty_table($format);
            }

            #[test]
            fn requests_out_of_range_are_refused() {
                operations::requests_out_of_range_are_refused($format);
            }

            #[test]
            fn requests_that_make_no_sense_are_refused() {
                operations::requests_that_make_no_sense_are_refused($format);
            }

            #[test]
            fn dirty_is_per_leaf_and_cleared_on_request() {
                operations::dirty_is_per_leaf_and_cleared_on_request($format);
            }

            #[test]
            fn dropping_a_table_returns_all_memory() {
                operations::dropping_a_table_returns_all_memory($format);
            }

            #[test]
            fn want_of_memory_at_any_step_changes_nothing() {
                failure::want_of_memory_at_any_step_changes_nothing($format);
            }

            #[test]
            fn random_operations_do_what_a_naive_model_does() {
                model::random_operations_do_what_a_naive_model_does($format);
            }

            #[test]
            fn a_neighbour_at_any_step_changes_nothing() {
                interference::a_neighbour_at_any_step_changes_nothing($format);
            }

            #[test]
            fn neighbours_map_and_unmap_in_parallel() {
                concurrent::neighbours_map_and_unmap_in_parallel($format);
            }

            #[test]
            fn readers_see_a_mapping_or_none() {
                concurrent::readers_see_a_mapping_or_none($format);
            }
        })*
    };
}

for_every_format! {
    amdv1: swiommu_pgtable::fmt::Amdv1::new();
    amdv1_of_four_levels: swiommu_pgtable::fmt::Amdv1::new().with_most_levels(4).with_force_coherence();
    mock: swiommu_pgtable::fmt::MockAmdv1::mock();
    arm_4k: formats::Arm::<12>::stage1(48);
    arm_16k_concatenated: formats::Arm::<14>::with_levels(2, 40);
    arm_64k_52_bits: formats::Arm::<16>::stage1(52);
    sv39: formats::Sv::<false>::new(3);
    sv48x4: formats::Sv::<true>::new(4);
}
