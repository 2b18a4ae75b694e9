//! What a conversation holds, and how an answer is made.
