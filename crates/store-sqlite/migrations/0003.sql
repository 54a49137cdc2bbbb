-- What is to be known of a permit when it is closed: canonical JSON. Null where that is nothing, and for those that were open before.
ALTER TABLE open_permit ADD COLUMN body BLOB;
