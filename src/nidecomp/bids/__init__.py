"""What we look for (`dataset`, `listing`, `index`) and what we write (`names`, `write`)."""
