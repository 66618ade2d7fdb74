import {setTimeout as sleep} from 'node:timers/promises';
import type {Device} from '../../shared/observation.js';
import {trainerDevicesSchema} from '../../shared/trainerContract.js';
import {type DeviceCheckSite, launchOfDeviceCheck} from '../core/launch.js';
import type {ProcessExit} from '../core/observe.js';
import type {Trainers} from '../ports.js';
import {DeviceDiscoveryError} from './devices.js';

const CHECK_LIMIT_MS = 60_000;

/**
 * Has the trainer itself look, where and as its ranks will run. What nvidia-smi shows CUDA cannot always use: the driver is older than the
 * trainer's CUDA, the trainer was built before there was a driver, the host denies trainers what the driver wants. Throws
 * `DeviceDiscoveryError`: a job must not find that out, nor train on the CPU of a GPU host unasked.
 */
export async function checkTrainerUsesGpus(devices: readonly Device[], site: DeviceCheckSite, trainers: Trainers): Promise<void> {
  const gpus = devices.filter(device => device.kind === 'cuda');
  if (gpus.length === 0) return;
  const {usable, why} = await askTrainer(gpus, site, trainers);
  if (usable === gpus.length) return;
  throw new DeviceDiscoveryError(
    `nvidia-smi shows ${gpus.length} GPU${gpus.length === 1 ? '' : 's'}, but the trainer can use ${usable === 0 ? 'none' : `only ${usable}`}: ` +
      `${why}. Mend that (\`${site.trainerPath} devices\` tells how it stands), name the usable ones with --gpus, or offer CPU slots with --cpu-slots.`,
  );
}

async function askTrainer(
  gpus: readonly Device[],
  site: DeviceCheckSite,
  trainers: Trainers,
): Promise<{readonly usable: number; readonly why: string}> {
  const said: string[] = [];
  const trainer = await trainers.start(launchOfDeviceCheck(gpus, site), {
    event: async () => {},
    badEvent: async () => {},
    log: async (stream, line) => {
      if (stream === 'stdout') said.push(line);
    },
  });
  const tooLong = new AbortController();
  void sleep(CHECK_LIMIT_MS, undefined, {signal: tooLong.signal, ref: false}).then(
    () => trainer.signal('SIGKILL'),
    () => {},
  );
  const {exit, stderr} = await trainer.ended;
  tooLong.abort();
  const answer = parsed(said.join('\n'));
  if (answer === undefined) return {usable: 0, why: stderr || `it ended without an answer (${shown(exit)})`};
  return {usable: answer.gpus.length, why: answer.why_none || 'CUDA sees no more'};
}

function parsed(text: string) {
  try {
    return trainerDevicesSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function shown(exit: ProcessExit): string {
  if (exit.kind === 'code') return `exit code ${exit.code}`;
  return exit.kind === 'signal' ? exit.signal : exit.message;
}
