import {Chance} from './clock.js';

/** What a run consists of: a cluster, jobs, and faults, each at its moment. A seed makes one up; a failing one can be made smaller. */
export interface Story {
  readonly seed: number;
  /** Devices of each node. */
  readonly nodes: Readonly<Record<string, number>>;
  readonly jobs: readonly JobArrival[];
  readonly faults: readonly Fault[];
}

export interface JobArrival {
  readonly at: number;
  readonly id: string;
  readonly gpus: number;
  readonly priority: number;
  readonly epochs: number;
}

export type Fault =
  | {readonly at: number; readonly kind: 'killRank' | 'hangRank'; readonly job: string; readonly rank: number}
  | {readonly at: number; readonly kind: 'killAgent' | 'cutNode' | 'fillDisk'; readonly node: string; readonly forMs: number}
  | {readonly at: number; readonly kind: 'killCoordinator' | 'stopStore'; readonly forMs: number}
  | {readonly at: number; readonly kind: 'rotCheckpoint' | 'cancel'; readonly job: string};

/** Faults stop here; from then on everything must come to its end (L9). */
export const FAULTS_UNTIL_MS = 30_000;

export function makeUpStory(seed: number): Story {
  const chance = new Chance(seed);
  const names = ['a', 'b', 'c'].slice(0, chance.between(1, 3));
  const nodes = Object.fromEntries(names.map(name => [name, chance.between(1, 3)]));
  const devices = Object.values(nodes).reduce((sum, count) => sum + count, 0);
  const jobs = Array.from({length: chance.between(1, 5)}, (_, i) => ({
    at: chance.between(0, 10_000),
    id: `j${i + 1}`,
    gpus: chance.between(1, Math.min(4, devices)),
    priority: chance.of([0, 50, 50, 100]),
    epochs: chance.between(1, 50),
  }));
  const faults = Array.from({length: chance.between(0, 12)}, () => makeUpFault(chance, names, jobs));
  return {seed, nodes, jobs, faults: faults.sort((a, b) => a.at - b.at)};
}

function makeUpFault(chance: Chance, nodes: readonly string[], jobs: readonly JobArrival[]): Fault {
  const at = chance.between(0, FAULTS_UNTIL_MS);
  const job = chance.of(jobs);
  const forMs = chance.of([300, 2_000, 10_000, 45_000]);
  const rank = chance.between(0, job.gpus - 1);
  return chance.of<Fault>([
    {at, kind: 'killRank', job: job.id, rank},
    // A rank that hangs alone has no peer to notice it: hang detection is another matter than recovery.
    {at, kind: job.gpus === 1 ? 'killRank' : 'hangRank', job: job.id, rank},
    {at, kind: 'killAgent', node: chance.of(nodes), forMs},
    {at, kind: 'cutNode', node: chance.of(nodes), forMs},
    {at, kind: 'fillDisk', node: chance.of(nodes), forMs},
    {at, kind: 'killCoordinator', forMs},
    {at, kind: 'stopStore', forMs},
    {at, kind: 'rotCheckpoint', job: job.id},
    {at, kind: 'cancel', job: job.id},
  ]);
}

/** A smallest story that still fails: leaves out as many faults and jobs at once as it can, at last one at a time. */
export function shrink(story: Story, fails: (story: Story) => boolean): Story {
  const parts: readonly Part[] = [...story.faults, ...story.jobs];
  for (let size = Math.ceil(parts.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < parts.length; from += size) {
      const smaller = without(story, new Set(parts.slice(from, from + size)));
      if (fails(smaller)) return shrink(smaller, fails);
    }
  }
  return story;
}

type Part = Fault | JobArrival;

/** Faults of jobs that are left out go with them. */
function without(story: Story, left: ReadonlySet<Part>): Story {
  const jobs = story.jobs.filter(job => !left.has(job));
  const isMeant = (fault: Fault): boolean => !left.has(fault) && (!('job' in fault) || jobs.some(job => job.id === fault.job));
  return {...story, jobs, faults: story.faults.filter(isMeant)};
}

/** As a script that people read, and that tells how to play it again. */
export function describeStory(story: Story): string {
  const lines = [
    ...story.jobs.map(({at, ...job}) => ({at, text: `submit ${JSON.stringify(job)}`})),
    ...story.faults.map(({at, ...fault}) => ({at, text: `${fault.kind} ${JSON.stringify({...fault, kind: undefined})}`})),
  ].sort((a, b) => a.at - b.at);
  const told = lines.map(({at, text}) => `${String(at).padStart(6)} ms  ${text}`);
  return [`seed ${story.seed}, nodes ${JSON.stringify(story.nodes)}`, ...told].join('\n');
}
