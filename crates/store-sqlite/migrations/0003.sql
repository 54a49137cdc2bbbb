-- What is to be known of a permit when it is closed; nothing of most, and of those that were open before.
ALTER TABLE open_permit ADD COLUMN body BLOB;
