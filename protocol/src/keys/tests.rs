//! Text that is read, written and cut; and every row of the table.
