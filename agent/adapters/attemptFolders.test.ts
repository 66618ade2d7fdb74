import {mkdir, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {endReason} from '../../shared/endReason.js';
import {planFor} from '../../test/support/plans.js';
import {RecordingLog} from '../../test/support/recordingLog.js';
import {attemptKey} from '../core/localAttempt.js';
import {AGENT_RESTARTED} from '../core/observe.js';
import {DiskAttemptFolders} from './attemptFolders.js';

let dir: string;
let log: RecordingLog;
let folders: DiskAttemptFolders;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tenfold-attempts-'));
  log = new RecordingLog();
  folders = new DiskAttemptFolders(join(dir, 'attempts'), 'a', log);
});
afterEach(() => rm(dir, {recursive: true, force: true}));

async function launched(jobId: string): Promise<GenerationPlan> {
  const plan = planFor(['a'], {jobId, generation: 5});
  await folders.create(plan);
  await folders.recordLaunch(plan, {files: [], ranks: []});
  await mkdir(join(folders.pathOf(plan), 'run/weights'), {recursive: true});
  await writeFile(join(folders.pathOf(plan), 'run/weights/best.safetensors'), 'weights');
  return plan;
}

describe('the folders of attempts, after a restart', () => {
  it('tell what ran and how it ended; those that never ran are cleared away', async () => {
    const [ended, died] = [await launched('j1'), await launched('j2')];
    await folders.recordExit(ended, 0, endReason('completed'));
    await folders.create(planFor(['a'], {jobId: 'j3', generation: 5}));
    const recovered = await folders.recover();
    expect(recovered.map(({plan, ranks}) => [plan.jobId, ranks[0]!.state === 'exited' && ranks[0]!.reason])).toEqual([
      ['j1', endReason('completed')],
      ['j2', AGENT_RESTARTED],
    ]);
    expect(await readdir(join(dir, 'attempts'))).toEqual([ended, died].map(attemptKey));
  });

  it.each([
    ['plan.json', ''],
    ['plan.json', '{"jobId":"j1"}'],
    ['rank-0.exit.json', '{"code":"from the future"}'],
  ])('are put aside with all that is in them where %s is %j', async (file, content) => {
    const [damaged, whole] = [await launched('j1'), await launched('j2')];
    await writeFile(join(folders.pathOf(damaged), file), content);
    expect((await folders.recover()).map(({plan}) => plan)).toEqual([whole]);
    expect(await readdir(join(dir, 'attempts'))).toEqual([attemptKey(whole)]);
    const aside = log.lines[0]!.fields.aside as string;
    expect(aside).toContain(join(dir, 'attempts.damaged', `${attemptKey(damaged)}-`));
    expect(await readFile(join(aside, 'run/weights/best.safetensors'), 'utf8')).toBe('weights');
    expect(log.at('error')).toHaveLength(1);
  });
});
