//! The tests of the crate as its users see it: golden vectors, and one suite for every format.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batch;
mod concurrent;
mod corrupt;
mod failure;
mod foreign;
mod golden;
mod interference;
mod model;
mod operations;
mod own;
mod permissions;
mod protect;
mod reserved;
mod show;
mod support;
mod updates;
mod walking;

use swiommu_pgtable::fmt::AddressForm::{Bits48, Bits52};
use swiommu_pgtable::fmt::{Amdv1, ArmS1, ArmS2, MockAmdv1, Riscv, VtdSs, X86_64};

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
            fn a_leaf_is_written_as_in_a_new_table() {
                operations::a_leaf_is_written_as_in_a_new_table($format);
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
            fn every_leaf_that_a_range_touches_goes() {
                operations::every_leaf_that_a_range_touches_goes($format);
            }

            #[test]
            fn a_range_may_end_in_any_table() {
                operations::a_range_may_end_in_any_table($format);
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
            fn an_aperture_is_the_end_of_everything() {
                operations::an_aperture_is_the_end_of_everything($format);
            }

            #[test]
            fn ranges_may_end_beyond_the_root() {
                operations::ranges_may_end_beyond_the_root($format);
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
            fn a_batch_answers_as_one_by_one() {
                batch::a_batch_answers_as_one_by_one($format);
            }

            #[test]
            fn a_batch_finds_no_more_than_there_is() {
                batch::a_batch_finds_no_more_than_there_is($format);
            }

            #[test]
            fn a_batch_sees_what_is_mapped_during_it() {
                batch::a_batch_sees_what_is_mapped_during_it($format);
            }

            #[test]
            fn a_changed_leaf_is_as_a_new_one() {
                protect::a_changed_leaf_is_as_a_new_one($format);
            }

            #[test]
            fn what_is_dirty_stays_dirty() {
                protect::what_is_dirty_stays_dirty($format);
            }

            #[test]
            fn a_range_changes_whole_or_not_at_all() {
                protect::a_range_changes_whole_or_not_at_all($format);
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
            fn a_reader_at_any_step_sees_a_mapping_or_none() {
                interference::a_reader_at_any_step_sees_a_mapping_or_none($format);
            }

            #[test]
            fn neighbours_map_and_unmap_in_parallel() {
                concurrent::neighbours_map_and_unmap_in_parallel($format);
            }

            #[test]
            fn readers_see_a_mapping_or_none() {
                concurrent::readers_see_a_mapping_or_none($format);
            }

            #[test]
            fn a_walk_finds_what_was_mapped() {
                walking::a_walk_finds_what_was_mapped($format);
            }

            #[test]
            fn a_trace_has_every_entry_on_the_way() {
                walking::a_trace_has_every_entry_on_the_way($format);
            }

            #[test]
            fn a_walk_says_where_and_why_it_ended() {
                walking::a_walk_says_where_and_why_it_ended($format);
            }

            #[test]
            fn a_walk_goes_on_from_a_table_that_was_reached() {
                walking::a_walk_goes_on_from_a_table_that_was_reached($format);
            }

            #[test]
            fn a_walk_from_what_is_no_table_begins_at_the_root() {
                walking::a_walk_from_what_is_no_table_begins_at_the_root($format);
            }

            #[test]
            fn a_walk_in_a_loop_ends() {
                walking::a_walk_in_a_loop_ends($format);
            }

            #[test]
            fn a_walk_refuses_what_is_no_input_address() {
                walking::a_walk_refuses_what_is_no_input_address($format);
            }

            #[test]
            fn permissions_are_asked_of_the_leaf() {
                walking::permissions_are_asked_of_the_leaf($format);
            }

            #[test]
            fn garbage_leads_to_an_end() {
                walking::garbage_leads_to_an_end($format);
            }

            #[test]
            fn only_roots_that_the_format_has_can_be_walked() {
                walking::only_roots_that_the_format_has_can_be_walked($format);
            }
        })*
    };
}

for_every_format! {
    amdv1: Amdv1::new();
    amdv1_of_four_levels: Amdv1::new().with_most_levels(4).with_force_coherence();
    mock: MockAmdv1::mock();
    x86_64_of_four_levels: X86_64::four_level();
    x86_64_of_five_levels: X86_64::five_level().with_execute_disable();
    x86_64_lower_half: X86_64::four_level().with_lower_half();
    vtdss_of_three_levels: VtdSs::three_level();
    vtdss_of_four_levels: VtdSs::four_level().with_force_coherence();
    vtdss_of_five_levels: VtdSs::five_level().with_accessed_dirty();
    arm_s1_4k: ArmS1::<12>::new(Bits48, 48, 48).unwrap();
    arm_s1_4k_contiguous: ArmS1::<12>::new(Bits48, 39, 48).unwrap().with_contiguous().with_dirty_tracking();
    arm_s1_4k_52_bits: ArmS1::<12>::new(Bits52, 52, 52).unwrap();
    arm_s1_16k_contiguous: ArmS1::<14>::new(Bits48, 48, 48).unwrap().with_contiguous();
    arm_s1_64k_52_bits: ArmS1::<16>::new(Bits52, 52, 52).unwrap().with_dirty_tracking();
    arm_s2_4k_concatenated: ArmS2::<12>::new(Bits48, 40, 48).unwrap().with_levels(3).unwrap().with_contiguous();
    arm_s2_16k_concatenated: ArmS2::<14>::new(Bits52, 40, 48).unwrap().with_levels(2).unwrap().with_dirty_tracking();
    arm_s2_64k: ArmS2::<16>::new(Bits48, 48, 48).unwrap().with_contiguous();
    sv39: Riscv::sv39().with_napot();
    sv48: Riscv::sv48();
    sv57: Riscv::sv57().with_memory_types();
    sv39x4: Riscv::sv39x4();
    sv48x4: Riscv::sv48x4().with_napot();
    sv57x4: Riscv::sv57x4().with_accessed_dirty();
    plainest: own::Own;
}
