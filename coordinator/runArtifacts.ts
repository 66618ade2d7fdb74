import type {ArtifactRecord} from '../shared/checkpoint.js';
import type {Clock} from '../shared/clock.js';
import {unavailable} from '../shared/errors.js';
import type {UploadStart} from '../shared/wire/agent.js';
import type {ClusterState} from './clusterState.js';
import {Exclusive} from './exclusive.js';
import type {FencedStore} from './fencedStore.js';
import {objectKeys} from './objectKeys.js';
import type {ObjectStore} from './ports.js';
import {uploadingAttempt} from './uploadingAttempt.js';

export interface RunArtifactsParts {
  readonly state: ClusterState;
  readonly fenced: FencedStore;
  readonly objects: ObjectStore;
  readonly clock: Clock;
}

const TRIES_AT_CONFLICT = 5;

/** The kept files of run folders. A file that is made again takes the place of the one before. */
export class RunArtifacts {
  private readonly oneAtATime = new Exclusive();

  constructor(private readonly parts: RunArtifactsParts) {}

  /** Registers a file whose bytes are verified, for the job's current attempt. */
  register(upload: UploadStart): Promise<boolean> {
    return this.oneAtATime.run(`${upload.jobId}/${upload.file.name}`, () => this.replace(upload));
  }

  private async replace(upload: UploadStart): Promise<boolean> {
    const {jobId, attempt, file} = upload;
    const {state, fenced, objects, clock} = this.parts;
    const before = state.artifacts.get(jobId)?.find(artifact => artifact.file.name === file.name);
    if (before?.file.sha256 === file.sha256 && before.attempt === attempt) return true;
    const record: ArtifactRecord = {file, attempt, registeredAt: clock.now()};
    const operations = [{kind: 'put', key: state.keys.artifact(jobId, file.name), value: JSON.stringify(record)}] as const;
    for (let attempts = 0; attempts < TRIES_AT_CONFLICT; attempts++) {
      const {job} = uploadingAttempt(state, upload);
      const comparisons = [{key: state.keys.job(jobId), target: 'mod', revision: job.modRevision}] as const;
      if (!(await fenced.commit({what: `registering ${file.name} of ${jobId}`, comparisons, operations}))) continue;
      if (before !== undefined && before.file.sha256 !== file.sha256) await objects.delete(objectKeys.artifact(jobId, before.file));
      return true;
    }
    throw unavailable(`the record of ${jobId} keeps changing`);
  }
}
