//! The names that onlooker emits, in one table with profiles.
