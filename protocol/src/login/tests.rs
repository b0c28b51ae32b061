//! Conversations between the two logins, and with peers that misbehave.
