import {describe, expect, it} from 'vitest';
import {foldersOf} from '../shared/config.js';
import {resolveAgentConfig} from './config.js';

const folders = foldersOf({}, '/home/op');
const resolve = (flags: Record<string, unknown>, env: NodeJS.ProcessEnv = {}, host = 'GPU_Host-3.lab') =>
  resolveAgentConfig({flags, env, file: undefined}, folders, host);

describe('the config of an agent', () => {
  it('is complete without a word: a coordinator on this machine, named after the host', () => {
    expect(resolve({})).toMatchObject({
      coordinator: {host: '127.0.0.1', port: 7070},
      nodeId: 'gpu-host-3.lab',
      dataDir: '/home/op/.local/share/tenfold/agent',
      nvidiaSmi: 'nvidia-smi',
      cpuSlots: undefined,
      rendezvousPorts: undefined,
      tls: undefined,
    });
  });

  it('takes flags over the environment', () => {
    const env = {TENFOLD_NVIDIA_SMI: '/opt/smi', TENFOLD_CPU_SLOTS: '2', TENFOLD_RENDEZVOUS_PORTS: '29400-29499'};
    expect(resolve({cpuSlots: '1', nodeId: 'a'}, env)).toMatchObject({
      nodeId: 'a',
      cpuSlots: 1,
      nvidiaSmi: '/opt/smi',
      rendezvousPorts: {low: 29_400, high: 29_499},
    });
  });

  it('tells all that is wrong at once', () => {
    const bad = {nodeId: 'A/b', tlsCert: '/c.pem', rendezvousPorts: '500-100'};
    expect(() => resolve(bad)).toThrow(/--node-id: .*\n--tls-cert: .*\n--rendezvous-ports: must be two ports such as 29400-29499/);
  });
});
