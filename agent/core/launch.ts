import {type GenerationPlan, planNodes, type RankPlacement} from '../../shared/attemptPlan.js';
import type {Device} from '../../shared/observation.js';
import {CONTRACT_VERSION, type TrainerConfig} from '../../shared/trainerContract.js';
import {placementsOn, type StagedFiles} from './localAttempt.js';

/** From a plan to the processes that carry it out: command lines, environments, and the one config file that they all read. */

/** Descriptors of a trainer, as its environment names them. */
export const EVENTS_FD = 3;
export const CONTROL_FD = 4;

/** Carries the id of the agent's data folder, so that an agent finds leftovers of its predecessor, children included. */
export const SPAWN_MARK = 'TENFOLD_SPAWNED_BY';

/** What a launch depends on besides the plan. */
export interface LaunchSite {
  readonly nodeId: string;
  readonly devices: readonly Device[];
  readonly trainerPath: string;
  /** The agent's own environment, of which an allowlist is passed on. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The attempt's own folder. */
  readonly folder: string;
  /** The id of the agent's data folder. */
  readonly spawnMark: string;
  /** Least time between two `step` events of a rank, ms. */
  readonly progressIntervalMs: number;
  /** How long ranks wait for each other, s. */
  readonly collectiveTimeoutS: number;
}

export type DeviceCheckSite = Pick<LaunchSite, 'trainerPath' | 'environment' | 'folder' | 'spawnMark'>;

export interface RankLaunch {
  readonly rank: number;
  readonly deviceId: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

export interface AttemptLaunch {
  /** To be written before any rank is started. */
  readonly files: readonly {readonly path: string; readonly text: string}[];
  readonly ranks: readonly RankLaunch[];
}

/** Everything that it takes to start the ranks that `plan` places on this node. */
export function launch(plan: GenerationPlan, staged: StagedFiles, site: LaunchSite): AttemptLaunch {
  const configPath = `${site.folder}/config.json`;
  const modelPath = `${site.folder}/model.yaml`;
  const isOwnModel = plan.model.arch.includes('\n');
  const placements = placementsOn(plan, site.nodeId);
  const onGpus = placements.some(placement => deviceOf(placement, site.devices).kind === 'cuda');
  const config = trainerConfig(plan, staged, site, isOwnModel ? modelPath : plan.model.arch, onGpus ? 'cuda' : 'cpu');
  return {
    files: [
      {path: configPath, text: `${JSON.stringify(config, null, 2)}\n`},
      ...(isOwnModel ? [{path: modelPath, text: plan.model.arch}] : []),
    ],
    ranks: placements.map(placement => ({
      rank: placement.rank,
      deviceId: placement.deviceId,
      argv: [site.trainerPath, 'train', configPath],
      env: rankEnvironment(plan, placement, placements, site),
      cwd: site.folder,
    })),
  };
}

/** A process of the trainer's that tells which of these GPUs it can use, in the surroundings of a rank. */
export function launchOfDeviceCheck(gpus: readonly Device[], site: DeviceCheckSite): RankLaunch {
  return {
    rank: 0,
    deviceId: '',
    argv: [site.trainerPath, 'devices', '--json'],
    env: {
      ...passedOn(site.environment),
      RANK: '0',
      TENFOLD_GENERATION: '0',
      CUDA_VISIBLE_DEVICES: idsOf(gpus),
      [SPAWN_MARK]: site.spawnMark,
    },
    cwd: site.folder,
  };
}

function trainerConfig(plan: GenerationPlan, staged: StagedFiles, site: LaunchSite, arch: string, device: 'cuda' | 'cpu'): TrainerConfig {
  return {
    contract: CONTRACT_VERSION,
    run: {name: plan.jobId, dir: `${site.folder}/run`},
    data: {kind: 'shards', index: staged.indexPath, dir: staged.shardsDir},
    model: {arch, weights: null, nc: plan.model.nc},
    train: {...plan.train, device},
    checkpoint: {every: plan.checkpoint.every, dir: `${site.folder}/checkpoints`},
    resume: staged.resumeDir === null ? null : {dir: staged.resumeDir},
    collective: {backend: 'auto', timeout_s: site.collectiveTimeoutS, generation: plan.generation},
    progress: {interval_ms: site.progressIntervalMs},
  };
}

/**
 * The torchrun environment of one rank over the passed-on part of the agent's own. All of the node's GPUs of this attempt are visible to
 * each rank, in the order of local rank, since NCCL reaches a peer's GPU directly only where it is visible.
 */
function rankEnvironment(
  plan: GenerationPlan,
  placement: RankPlacement,
  placements: readonly RankPlacement[],
  site: LaunchSite,
): Record<string, string> {
  const nodes = planNodes(plan);
  const device = deviceOf(placement, site.devices);
  const gpus = [...placements]
    .sort((a, b) => a.localRank - b.localRank)
    .map(other => deviceOf(other, site.devices))
    .filter(other => other.kind === 'cuda');
  return {
    ...passedOn(site.environment),
    RANK: String(placement.rank),
    LOCAL_RANK: String(placement.localRank),
    GROUP_RANK: String(nodes.indexOf(site.nodeId)),
    ROLE_RANK: String(placement.rank),
    WORLD_SIZE: String(plan.ranks.length),
    LOCAL_WORLD_SIZE: String(placements.length),
    GROUP_WORLD_SIZE: String(nodes.length),
    ROLE_WORLD_SIZE: String(plan.ranks.length),
    MASTER_ADDR: plan.rendezvous.host,
    MASTER_PORT: String(plan.rendezvous.port),
    TORCHELASTIC_RUN_ID: plan.jobId,
    TORCHELASTIC_RESTART_COUNT: String(plan.attempt - 1),
    TORCHELASTIC_MAX_RESTARTS: String(plan.attempt - 1),
    OMP_NUM_THREADS: String(device.threads),
    // Empty on a CPU slot: its rank must not take a GPU that was given to nobody.
    CUDA_VISIBLE_DEVICES: idsOf(gpus),
    TENFOLD_EVENTS_FD: String(EVENTS_FD),
    TENFOLD_CONTROL_FD: String(CONTROL_FD),
    TENFOLD_JOB: plan.jobId,
    TENFOLD_GENERATION: String(plan.generation),
    [SPAWN_MARK]: site.spawnMark,
  };
}

function idsOf(devices: readonly Device[]): string {
  return devices.map(device => device.id).join(',');
}

function deviceOf(placement: RankPlacement, devices: readonly Device[]): Device {
  const device = devices.find(candidate => candidate.id === placement.deviceId);
  if (device === undefined)
    throw new UnknownDeviceError(`rank ${placement.rank} is placed on ${placement.deviceId}, which this node has not`);
  return device;
}

/** A plan names a device that is not here (any more). */
export class UnknownDeviceError extends Error {
  override readonly name = 'UnknownDeviceError';
}

const PASSED_ON: ReadonlySet<string> = new Set([
  ...['PATH', 'HOME', 'XDG_CACHE_HOME', 'USER', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH'],
  // By name: NVIDIA_ also begins names of keys for its services.
  ...['NVIDIA_VISIBLE_DEVICES', 'NVIDIA_DRIVER_CAPABILITIES', 'NVIDIA_TF32_OVERRIDE'],
]);
const PASSED_ON_PREFIXES = ['NCCL_', 'GLOO_', 'TORCH_', 'CUDA_'];
const NEVER_PASSED_ON: ReadonlySet<string> = new Set(['CUDA_VISIBLE_DEVICES']);

/** What of the agent's environment a trainer may see: where things lie, and how the site tunes its transports. No secrets. */
function passedOn(environment: LaunchSite['environment']): Record<string, string> {
  const isPassedOn = (name: string): boolean =>
    !NEVER_PASSED_ON.has(name) && (PASSED_ON.has(name) || PASSED_ON_PREFIXES.some(prefix => name.startsWith(prefix)));
  const entries = Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined && isPassedOn(entry[0]));
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
