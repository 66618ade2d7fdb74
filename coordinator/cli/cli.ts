import type {Channel} from 'nice-grpc';
import {findConfigFile, foldersOf} from '../../shared/config.js';
import {problemOf, wasAnswered} from '../../shared/errors.js';
import {type ClusterServiceClient, ClusterServiceDefinition} from '../../shared/gen/tenfold/v1/cluster.js';
import {type DatasetServiceClient, DatasetServiceDefinition} from '../../shared/gen/tenfold/v1/dataset.js';
import {type JobServiceClient, JobServiceDefinition} from '../../shared/gen/tenfold/v1/job.js';
import {type ClientCallOptions, clientFactory, openChannel} from '../../shared/grpc.js';
import {showHostPort} from '../../shared/settings.js';
import {clientCredentials} from '../../shared/tls.js';
import {type ClientConfig, resolveClientConfig} from './clientConfig.js';
import {EXIT, type ExitCode} from './exitCodes.js';
import {type Style, styleFor} from './render/style.js';

/** A stream of the process, or of a test. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface Surroundings {
  readonly out: Output;
  readonly err: Output;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Aborts with the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

export interface Clients {
  readonly jobs: JobServiceClient<ClientCallOptions>;
  readonly cluster: ClusterServiceClient<ClientCallOptions>;
  readonly datasets: DatasetServiceClient<ClientCallOptions>;
}

/** What every command works with: where to print, and whom to ask. Data goes to stdout, everything else to stderr. */
export class Cli {
  readonly style: Style;
  readonly errStyle: Style;
  /** Where the coordinator was looked for; undefined until a command asked. */
  address: string | undefined;
  /** Options that stood before the subcommand; its own win. */
  globalFlags: Readonly<Record<string, unknown>> = {};
  /** How the process ends, unless something throws. */
  exitCode: ExitCode = EXIT.done;
  private channel: Channel | undefined;
  private toldWaiting = false;

  constructor(readonly around: Surroundings) {
    this.style = styleFor(around.out, around.env);
    this.errStyle = styleFor(around.err, around.env);
  }

  get signal(): AbortSignal {
    return this.around.signal;
  }

  /** Data, on stdout. */
  print(...lines: string[]): void {
    for (const line of lines) this.around.out.write(`${line}\n`);
  }

  /** What a person should read and a pipe need not: on stderr. */
  note(...lines: string[]): void {
    for (const line of lines) this.around.err.write(`${line}\n`);
  }

  /** Clients for the coordinator that the flags, the environment, the config file or a running `tenfold up` names. */
  connect(own: Readonly<Record<string, unknown>>): Clients {
    const {env} = this.around;
    const flags = {...this.globalFlags, ...own};
    const file = findConfigFile(typeof flags.config === 'string' ? flags.config : undefined, env);
    const config: ClientConfig = resolveClientConfig({flags, env, file}, foldersOf(env));
    this.address = showHostPort(config.address);
    this.channel = openChannel(this.address, clientCredentials(config.tls));
    const options = {'*': {patienceMs: config.patienceMs, onRetry: (error: unknown) => this.tellWaiting(error), signal: this.signal}};
    return {
      jobs: clientFactory.create(JobServiceDefinition, this.channel, options),
      cluster: clientFactory.create(ClusterServiceDefinition, this.channel, options),
      datasets: clientFactory.create(DatasetServiceDefinition, this.channel, options),
    };
  }

  /** Once, and only to somebody who looks. */
  private tellWaiting(error: unknown): void {
    const why = wasAnswered(error) ? `says that ${problemOf(error).message}` : 'does not answer yet';
    if (!this.toldWaiting && this.around.err.isTTY) this.note(this.errStyle.dim(`${this.address} ${why}; trying on for a moment`));
    this.toldWaiting = true;
  }

  close(): void {
    this.channel?.close();
  }
}
