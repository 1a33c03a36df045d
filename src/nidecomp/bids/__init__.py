"""What we look for in a BIDS dataset (`dataset`, `index`) and what we write (`names`, `write`)."""
