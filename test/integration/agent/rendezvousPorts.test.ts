import {connect, createServer} from 'node:net';
import {afterEach, describe, expect, it} from 'vitest';
import {HeldRendezvousPorts} from '../../../agent/adapters/rendezvousPorts.js';

const opened: {close(): Promise<void>}[] = [];
afterEach(async () => {
  for (const ports of opened.splice(0)) await ports.close();
});

async function hold(range?: {low: number; high: number}): Promise<HeldRendezvousPorts> {
  const ports = await HeldRendezvousPorts.open('127.0.0.1', range);
  opened.push(ports);
  return ports;
}

/** Takes a port, as rank 0 does. */
async function listen(port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  opened.push({close: () => new Promise(resolve => server.close(() => resolve()))});
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
});
