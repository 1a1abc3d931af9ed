//! The only folder that knows Pingora's server: phases, peers, answers, listeners.
