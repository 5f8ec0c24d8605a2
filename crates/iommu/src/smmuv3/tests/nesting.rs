//! A guest's structures in front of a second stage.

use super::world::{DATA, PAGE, RW, World, gpa, read, write};

#[test]
fn a_request_goes_through_both_stages() {
    let w = World::new();
    w.tables(&[(5, gpa(DATA) | RW), (6, gpa(DATA + 9) | RW)]);
    let mut port = w.attached();
    write(&mut port, 5 * PAGE + 8, 0x11).unwrap();
    write(&mut port, 6 * PAGE, 0x22).unwrap();
    assert_eq!(w.peek(gpa(DATA) + 8), 0x11);
    assert_eq!(w.peek(gpa(DATA + 9)), 0x22);
    assert_eq!(read(&mut port, 6 * PAGE), Ok(0x22));
}
