import {Readable} from 'node:stream';
import {afterEach, beforeEach, expect, it, vi} from 'vitest';
import type {CheckpointRecord} from '../shared/checkpoint.js';
import {endReason} from '../shared/endReason.js';
import {CoordinatorRig} from '../test/support/coordinatorRig.js';
import {objectKeys} from './objectKeys.js';

let rig: CoordinatorRig;
beforeEach(async () => {
  rig = await CoordinatorRig.start();
});
afterEach(() => rig.stop());

const patiently = {timeout: 10_000};
const file = (jobId: string, step: number, attempt: number): string => objectKeys.checkpointFile(jobId, step, attempt, 'state.json');
const stored = async (jobId: string): Promise<string[]> => {
  const prefix = objectKeys.checkpoints(jobId);
  return [...(await rig.objects.list(prefix)), ...(await rig.objects.listUnfinished(prefix))];
};

/** A job with a checkpoint that is committed, and files of others that are not. Returns the file that is to stay. */
async function addJobWithLeftovers(jobId: string): Promise<string> {
  await rig.addJob(jobId);
  const [committed, ...others] = [file(jobId, 2, 1), file(jobId, 1, 1), file(jobId, 2, 2), file(jobId, 3, 2)];
  for (const key of [committed!, ...others]) await rig.objects.put(key, Buffer.from('{}'));
  await rig.objects.receive(file(jobId, 4, 2), 0, Readable.from([Buffer.from('{')]));
  const files = [{name: 'state.json', bytes: 2, sha256: '0'.repeat(64)}];
  const record: CheckpointRecord = {step: 2, cursor: {epoch: 1, offset: 16}, files, attempt: 1, committedAt: 1};
  await rig.put(rig.keys.checkpoint(jobId, 2), record);
  return committed!;
}

async function end(jobId: string): Promise<void> {
  const job = rig.state.jobs.get(jobId)!.value;
  await rig.put(rig.keys.job(jobId), {...job, status: {phase: 'ended', outcome: 'cancelled', reason: endReason('cancelled'), at: 1}});
}

/** Clears until `condition` holds. */
async function clearUntil(condition: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const running = rig.checkpoints.run(stop.signal);
  try {
    await condition();
  } finally {
    stop.abort();
    await running;
  }
}

it('nothing but committed checkpoints is left of a job that ends, or had ended before we led; others keep what they upload', async () => {
  const [endedEarlier, endingNow] = [await addJobWithLeftovers('j1'), await addJobWithLeftovers('j2')];
  await addJobWithLeftovers('j3');
  await end('j1');
  const whole = await stored('j3');
  await clearUntil(async () => {
    await expect.poll(() => stored('j1'), patiently).toEqual([endedEarlier]);
    expect(await stored('j2')).toHaveLength(whole.length);
    await end('j2');
    await expect.poll(() => stored('j2'), patiently).toEqual([endingNow]);
  });
  expect(await stored('j3')).toEqual(whole);
});

it('what lies at a step whose record is not understood stays', async () => {
  const committed = await addJobWithLeftovers('j1');
  await rig.put(rig.keys.checkpoint('j1', 3), {of: 'a later version'});
  await end('j1');
  await clearUntil(() => expect.poll(() => stored('j1'), patiently).toEqual([committed, file('j1', 3, 2)]));
});

it('a leader whose leadership lapses clears nothing until it is back', async () => {
  const committed = await addJobWithLeftovers('j1');
  await end('j1');
  const whole = await stored('j1');
  const {revision} = rig.leadership.fence()!;
  const {objects} = rig;
  const listUnfinished = objects.listUnfinished.bind(objects);
  const listing = vi.spyOn(objects, 'listUnfinished').mockImplementationOnce(async prefix => {
    rig.leadership.give(undefined);
    return listUnfinished(prefix);
  });
  await clearUntil(async () => {
    await expect.poll(() => listing.mock.calls.length, patiently).toBe(1);
    await expect.poll(() => rig.leadership.fence(), patiently).toBeUndefined();
    expect(await stored('j1')).toEqual(whole);
    rig.leadership.give(revision);
    await expect.poll(() => stored('j1'), patiently).toEqual([committed]);
  });
});
