//! What passes between client and ERP: headers, bodies, previews.
