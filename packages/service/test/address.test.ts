import t from 'tap'
import { createClientAddress, createNetworks, isNetwork, networkOf } from '../src/index.js'

t.test('what counts as one address', async (t) => {
  const rows: [string, string][] = [
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['0000:0000:0000:0000:0000:ffff:7f00:0001', '127.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::'],
    ['2001:0db8:0001:0002::1', '2001:db8:1:2::'],
    ['2001:db8::1', '2001:db8:0:0::'],
    ['::1', '0:0:0:0::'],
    ['fe80::1%eth0', 'fe80:0:0:0::'],
    ['unknown', 'unknown'],
  ]
  for (const [address, network] of rows) t.equal(networkOf(address), network, address)
})

t.test('the address of a client is the last one that a proxy of ours has seen', async (t) => {
  const addressOf = createClientAddress(['127.0.0.0/8', '10.0.0.0/8', 'fd00::/8'])
  const rows: [string, string, string][] = [
    ['203.0.113.1', '', '203.0.113.1'],
    ['203.0.113.1', '192.0.2.1', '203.0.113.1'],
    ['127.0.0.1', '', '127.0.0.1'],
    ['127.0.0.1', '192.0.2.1', '192.0.2.1'],
    ['127.0.0.1', '198.51.100.1, 192.0.2.1', '192.0.2.1'],
    ['127.0.0.1', '192.0.2.1, 10.1.2.3', '192.0.2.1'],
    ['0000:0000:0000:0000:0000:ffff:7f00:0001', '192.0.2.1', '192.0.2.1'],
    ['fd00::1', '2001:db8::1', '2001:db8::1'],
    ['127.0.0.1', 'unknown', 'unknown'],
  ]
  for (const [peer, header, client] of rows) t.equal(addressOf(peer, header), client, `${peer} for ${header}`)
  t.equal(createClientAddress([])('127.0.0.1', '192.0.2.1'), '127.0.0.1')
})

t.test('networks, and what lies in them', async (t) => {
  for (const good of ['10.0.0.0/8', '0.0.0.0/0', '192.0.2.1/32', '::1/128', 'fd00::/8', '::/0'])
    t.ok(isNetwork(good), good)
  for (const bad of ['10.0.0.0', '10.0.0.0/33', '::/129', '10.0.0/8', 'x/8', '/8', '10.0.0.0/-1', '10.0.0.0/8 ', ''])
    t.notOk(isNetwork(bad), bad)
  const isIn = createNetworks(['192.0.2.0/24', 'fd00::/8'])
  for (const inside of ['192.0.2.255', '::ffff:192.0.2.1', 'fd12::1']) t.ok(isIn(inside), inside)
  for (const outside of ['192.0.3.1', '::1', 'fe80::1', '', 'unknown', '192.0.2.1:80']) t.notOk(isIn(outside), outside)
  t.notOk(createNetworks([])('127.0.0.1'))
})
