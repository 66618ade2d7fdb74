import {expect, it} from 'vitest';
import {RecordingLog} from '../../test/support/recordingLog.js';
import {addressOfNode, givenAddress, globalAddress} from './nodeAddress.js';

const interfaces = {
  lo: [{address: '127.0.0.1', family: 'IPv4' as const, internal: true}],
  eth0: [
    {address: 'fe80::1', family: 'IPv6' as const, internal: false, scopeid: 2},
    {address: '2001:db8::7', family: 'IPv6' as const, internal: false, scopeid: 0},
    {address: '10.0.0.7', family: 'IPv4' as const, internal: false},
  ],
};

it('an address that others may reach is IPv4 where there is one, else a global IPv6', () => {
  expect(globalAddress(interfaces)).toBe('10.0.0.7');
  expect(globalAddress({...interfaces, eth0: interfaces.eth0.slice(0, 2)})).toBe('2001:db8::7');
  expect(globalAddress({lo: interfaces.lo, eth0: interfaces.eth0.slice(0, 1)})).toBeUndefined();
});

it('the agent of a coordinator on loopback stays there, without a network and without a word', async () => {
  const log = new RecordingLog();
  for (const host of ['127.0.0.1', 'localhost'])
    expect(await addressOfNode({host, port: 7070}, false, log)).toMatch(/^(127\.0\.0\.1|::1)$/);
  expect(log.lines).toEqual([]);
});

it('where that coordinator has TLS, and so maybe other hosts, the agent says what to give it', async () => {
  const log = new RecordingLog();
  expect(await addressOfNode({host: '127.0.0.1', port: 7070}, true, log)).toBe('127.0.0.1');
  expect(log.at('warn')).toEqual([expect.stringContaining('--node-address')]);
});

it("a coordinator under this host's own name is met at an address of the network, or the agent says what to give it", async () => {
  const log = new RecordingLog();
  // Resolves to loopback without looking like it, as the name of a Debian host does.
  const head = {host: '127.1', port: 7070};
  expect(await addressOfNode(head, true, log, interfaces)).toBe('10.0.0.7');
  expect(log.at('warn')).toEqual([]);
  expect(await addressOfNode(head, false, log, {lo: interfaces.lo})).toBe('127.0.0.1');
  expect(log.at('warn')).toEqual([expect.stringContaining('--node-address')]);
});

it('the name of a coordinator that nobody knows is told as that', async () => {
  await expect(addressOfNode({host: 'no..where', port: 7070}, true, new RecordingLog())).rejects.toThrow(
    'the name no..where is not known here',
  );
});

it.each([
  ['is told as it is', '10.0.0.9', [], '10.0.0.9'],
  ['that is a name is looked up here, where alone it may be known', 'gpu-a', ['10.0.0.9'], '10.0.0.9'],
  ['of several addresses is IPv4 that others may reach', 'gpu-a', ['127.0.1.1', '2001:db8::9', '10.0.0.9'], '10.0.0.9'],
  ['has IPv6 where that is all', 'gpu-a', ['2001:db8::9'], '2001:db8::9'],
  ["that is this host's own name by loopback is an address of the network", 'gpu-a', ['127.0.1.1'], '10.0.0.7'],
  ['that is meant as loopback stays there', 'localhost', ['127.0.0.1'], '127.0.0.1'],
])('an address given for the node %s', async (_, given, addresses, told) => {
  const lookUp = async () => addresses.map(address => ({address, family: address.includes(':') ? 6 : 4}));
  expect(await givenAddress(given, new RecordingLog(), interfaces, lookUp)).toBe(told);
});

it('a name given for the node that nobody knows is told as that', async () => {
  await expect(givenAddress('no..where', new RecordingLog())).rejects.toThrow(/no\.\.where is not known here.*--node-address: give an IP/);
});
