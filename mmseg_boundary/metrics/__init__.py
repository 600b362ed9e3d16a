"""Pure counts, int64 and added over images, and the scores made of them."""
