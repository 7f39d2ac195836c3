//! Debug events: record, filter, ring, cursor, gap.
