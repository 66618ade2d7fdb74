import {createServer, ServerError, Status} from 'nice-grpc';
import {expect, it} from 'vitest';
import {JobServiceDefinition, type JobServiceImplementation} from '../../shared/gen/tenfold/v1/job.js';
import {serverOptions} from '../../shared/grpc.js';
import {run} from './run.js';

it.each([[['ps']], [['explain', 'a']], [['cancel', 'a', 'b']]])(
  '%j that is interrupted while it waits for its answer ends at once, as interrupted',
  async args => {
    const stop = new AbortController();
    let given = 0;
    const neverAnswered: JobServiceImplementation['listJobs'] = async (_, {signal}) => {
      given++;
      stop.abort();
      await new Promise(resolve => signal.addEventListener('abort', resolve));
      throw new ServerError(Status.CANCELLED, 'the caller has gone');
    };
    const server = createServer(serverOptions);
    server.add(JobServiceDefinition, new Proxy({}, {get: () => neverAnswered}) as JobServiceImplementation);
    const port = await server.listen('127.0.0.1:0');
    try {
      let said = '';
      const output = {write: (text: string) => (said += text)};
      const around = {out: output, err: output, env: {TENFOLD_CONFIG: '/dev/null'}, cwd: '/', signal: stop.signal};
      expect(await run([...args, '--address', `127.0.0.1:${port}`], around)).toBe(130);
      expect({given, said}).toEqual({given: 1, said: ''});
    } finally {
      // Resolves only when the call has ended: one that goes on fails the test by its time limit.
      await server.shutdown();
    }
  },
);
