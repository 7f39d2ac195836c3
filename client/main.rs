//! The binary `fortigate`.

fn main() {}
