//! Source files, places in them, and the one way mmy shows a mistake.
