import {randomUUID} from 'node:crypto';
import {mkdir, readdir, readFile, rename, rm, writeFile} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {z} from 'zod';
import {attemptPlanSchema, type GenerationPlan} from '../../shared/attemptPlan.js';
import type {EndReason} from '../../shared/endReason.js';
import {endReasonSchema} from '../../shared/job.js';
import type {Log} from '../../shared/log.js';
import type {AttemptLaunch} from '../core/launch.js';
import {attemptKey, type LocalAttempt, type LocalRank, placementsOn} from '../core/localAttempt.js';
import {AGENT_RESTARTED, newAttempt} from '../core/observe.js';
import type {AttemptFolders} from '../ports.js';
import {readIfThere, syncFolder, writeDurably} from './durableFiles.js';

const PLAN_FILE = 'plan.json';
/** Its presence says that ranks may have been started. */
const LAUNCHED_FILE = 'launched.json';

const storedPlanSchema = attemptPlanSchema.extend({generation: z.number().int().min(0)});

/** One folder an attempt: `attempts/{job}.{attempt}.{generation}`. */
export class DiskAttemptFolders implements AttemptFolders {
  constructor(
    private readonly root: string,
    private readonly nodeId: string,
    private readonly log: Log,
  ) {}

  pathOf(plan: GenerationPlan): string {
    return join(this.root, attemptKey(plan));
  }

  async create(plan: GenerationPlan): Promise<void> {
    const folder = this.pathOf(plan);
    await mkdir(folder, {recursive: true});
    await writeDurably(join(folder, PLAN_FILE), JSON.stringify(plan));
    await syncFolder(this.root);
  }

  async recordLaunch(plan: GenerationPlan, launch: AttemptLaunch): Promise<void> {
    const folder = this.pathOf(plan);
    await Promise.all([mkdir(join(folder, 'run'), {recursive: true}), mkdir(join(folder, 'checkpoints'), {recursive: true})]);
    await Promise.all(launch.files.map(({path, text}) => writeFile(path, text)));
    await writeDurably(join(folder, LAUNCHED_FILE), JSON.stringify(launch.ranks.map(({rank, argv}) => ({rank, argv}))));
  }

  async recordExit(plan: GenerationPlan, rank: number, reason: EndReason): Promise<void> {
    await writeDurably(join(this.pathOf(plan), exitFile(rank)), JSON.stringify(reason));
  }

  async remove(plan: GenerationPlan): Promise<void> {
    await rm(this.pathOf(plan), {recursive: true, force: true, maxRetries: 3, retryDelay: 50});
  }

  async recover(): Promise<LocalAttempt[]> {
    await mkdir(this.root, {recursive: true});
    const recovered: LocalAttempt[] = [];
    for (const name of (await readdir(this.root)).sort()) {
      const attempt = await this.recoverOne(join(this.root, name)).catch(error => this.putAside(name, error));
      if (attempt === 'neverLaunched') await rm(join(this.root, name), {recursive: true, force: true});
      else if (attempt !== undefined) recovered.push(attempt);
    }
    return recovered;
  }

  /** What it has finished may be all that is left of it: nothing of it is removed. */
  private async putAside(name: string, error: unknown): Promise<undefined> {
    const aside = join(`${this.root}.damaged`, `${name}-${randomUUID().slice(0, 8)}`);
    this.log.error('the folder of an attempt cannot be understood; it is put aside, files in it that were not yet uploaded included', {
      error,
      aside,
    });
    await mkdir(dirname(aside), {recursive: true});
    await rename(join(this.root, name), aside);
  }

  private async recoverOne(folder: string): Promise<LocalAttempt | 'neverLaunched'> {
    if ((await readIfThere(join(folder, LAUNCHED_FILE))) === undefined) return 'neverLaunched';
    const plan = storedPlanSchema.parse(JSON.parse(await readFile(join(folder, PLAN_FILE), 'utf8')));
    const ranks = await Promise.all(
      placementsOn(plan, this.nodeId).map(async ({rank, deviceId}): Promise<LocalRank> => {
        return {rank, deviceId, state: 'exited', reason: await storedExit(join(folder, exitFile(rank)))};
      }),
    );
    return {...newAttempt(plan), stage: {phase: 'ready', files: {indexPath: '', shardsDir: '', resumeDir: null}}, ranks};
  }
}

function exitFile(rank: number): string {
  return `rank-${rank}.exit.json`;
}

/** The exit that was told before the agent died; else the rank died with it. */
async function storedExit(path: string): Promise<EndReason> {
  const text = await readIfThere(path);
  return text === undefined ? AGENT_RESTARTED : endReasonSchema.parse(JSON.parse(text));
}
