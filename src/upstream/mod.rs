//! Signed-in sessions at the ERPs: recipes, one sign-in at a time, sealed storage.
