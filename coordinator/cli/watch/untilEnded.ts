import type {Job} from '../../../shared/gen/tenfold/v1/job.js';
import {isFinal} from '../../../shared/wire/job.js';
import type {Cli, Clients} from '../cli.js';
import {followJob} from './follow.js';
import {leftRunning} from './watchJob.js';

/** The job in its final state, or in one that `enough` is satisfied with. An interrupt leaves it running, and says so. */
export async function untilEnded(cli: Cli, clients: Clients, name: string, enough: (job: Job) => boolean = () => false): Promise<Job> {
  const stop = new AbortController();
  const signal = AbortSignal.any([cli.signal, stop.signal]);
  try {
    // No type of event that there is: job changes alone.
    for await (const {update} of followJob(clients.jobs, name, {types: ['-'], signal})) {
      if (update?.$case === 'job' && (isFinal(update.value.state) || enough(update.value))) return update.value;
    }
  } finally {
    stop.abort();
  }
  throw leftRunning(name);
}
