"""The store of limits that the engines of several machines share: Redis, asked once a period for all of them."""
