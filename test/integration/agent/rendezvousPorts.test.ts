import {connect, createServer} from 'node:net';
import {afterEach, describe, expect, it} from 'vitest';
import {HeldRendezvousPorts, rangeOutside} from '../../../agent/adapters/rendezvousPorts.js';
import {silentLog} from '../../../shared/log.js';
import {waitUntil} from '../../support/waitUntil.js';

const opened: {close(): Promise<void>}[] = [];
afterEach(async () => {
  for (const ports of opened.splice(0)) await ports.close();
});

async function hold(range?: {low: number; high: number}): Promise<HeldRendezvousPorts> {
  const ports = await HeldRendezvousPorts.open('127.0.0.1', silentLog, range);
  opened.push(ports);
  return ports;
}

/** Takes a port, as rank 0 does. */
async function listen(port: number): Promise<{close(): Promise<void>}> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  const listener = {close: () => new Promise<void>(resolve => server.close(() => resolve()))};
  opened.push(listener);
  return listener;
}

function outcomeOfConnecting(port: number): Promise<string> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve('somebody is there');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'failed'));
  });
}

describe('ports held for the rendezvous', () => {
  it('are free to listen on for a rank, while nobody answers on them before', async () => {
    const ports = await hold();
    const [first] = ports.held();
    expect(await outcomeOfConnecting(first!)).toBe('ECONNREFUSED');
    await ports.release(first!);
    await listen(first!);
    expect(await outcomeOfConnecting(first!)).toBe('somebody is there');
    expect(ports.held()).toHaveLength(3);
    expect(ports.held()).not.toContain(first);
  });

  it('are never the same on two agents of one machine', async () => {
    const all = (await Promise.all([hold(), hold(), hold()])).flatMap(ports => ports.held());
    expect(new Set(all).size).toBe(9);
  });

  it('lie where they are asked to, and are none that somebody uses', async () => {
    const [low] = (await hold()).held();
    await opened.pop()!.close();
    await listen(low!);
    const ports = await hold({low: low!, high: low! + 3});
    expect([...ports.held()].sort()).toEqual([low! + 1, low! + 2, low! + 3]);
    await expect(hold({low: low!, high: low! + 1})).rejects.toThrow(`no port from ${low} to ${low! + 1} is free on 127.0.0.1`);
  });

  it('may be few: the last one is given away as well, and each is held again when its rank is gone', async () => {
    const [low] = (await hold()).held();
    await opened.pop()!.close();
    const ports = await hold({low: low!, high: low! + 1});
    for (const port of [low!, low! + 1]) await ports.release(port);
    expect(ports.held()).toEqual([]);
    const rank = await listen(low!);
    ports.reclaim(low! + 1);
    await waitUntil('one is held again', () => ports.held().length === 1);
    ports.reclaim(low!);
    expect(ports.held()).toEqual([low! + 1]);
    await rank.close();
    await waitUntil('both are held again', () => ports.held().length === 2);
  });

  it.each([
    ['above', {low: 32_768, high: 60_999}, {low: 61_000, high: 65_535}],
    ['below, where nothing is above', {low: 10_000, high: 65_535}, {low: 5904, high: 9999}],
    ['nowhere, where the kernel has all', {low: 1024, high: 65_535}, undefined],
  ])('lie outside of what the kernel gives to outgoing connections: %s', (_, kernel, range) => {
    expect(rangeOutside(kernel)).toEqual(range);
  });
});
