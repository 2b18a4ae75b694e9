//! What people ask for, as typed results.
