#!lua flags=no-writes
-- What a partition's generation says, and which server answers. One script, so that on a cluster the partition's own server is asked.
--
-- KEYS  1 the generation
-- Returns the record, '' for none; the server's replication id.

return {
  redis.call('GET', KEYS[1]) or '',
  string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'),
}
