//! The report: the document that every sink writes and every comparison reads.
