//! The little ERP and the guided demo.
