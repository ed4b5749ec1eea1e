"""What the BBS speaks and stores: messages, their wire and JSON forms, validation, versions, refusals, records."""
