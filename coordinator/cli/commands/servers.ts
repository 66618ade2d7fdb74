import type {Command} from 'commander';
import {findConfigFile, flagOf, foldersOf, type Settings, type Sources} from '../../../shared/config.js';
import {type HostPort, showHostPort, shownDuration} from '../../../shared/settings.js';
import type {Cli} from '../cli.js';
import {command, withExamples} from './shared.js';

/**
 * `coordinator` and `agent`. This is where the composition root is: both are loaded only when asked for, so that every other command
 * stays a light gRPC client.
 */
export async function serverCommands(cli: Cli): Promise<Command[]> {
  return [await coordinator(cli), await agent(cli)];
}

async function coordinator(cli: Cli): Promise<Command> {
  const {coordinatorSettings, resolveCoordinatorConfig} = await import('../../config.js');
  const coordinator = command('coordinator', 'run a coordinator: it keeps the queue, places jobs, and serves the API');
  withSettings(coordinator, coordinatorSettings);
  withExamples(
    coordinator,
    ['tenfold coordinator --etcd-endpoints 127.0.0.1:2379', 'on this machine alone'],
    ['tenfold coordinator --listen 0.0.0.0:7070 --tls-cert c.pem --tls-key c.key --tls-client-ca ca.pem', 'for other hosts'],
  );
  return coordinator.action(async (flags: Record<string, unknown>) => {
    const config = resolveCoordinatorConfig(sourcesOf(cli, flags), foldersOf(cli.around.env));
    const {runCoordinator} = await import('../../main.js');
    await runCoordinator(config, cli.signal);
  });
}

async function agent(cli: Cli): Promise<Command> {
  const {agentSettings, resolveAgentConfig} = await import('../../../agent/config.js');
  const agent = command('agent', "run an agent: it offers this host's devices and runs trainers on them");
  withSettings(agent, agentSettings);
  withExamples(agent, ['tenfold agent --coordinator gpu-head:7070 --tls-ca ca.pem --tls-cert a.pem --tls-key a.key', '']);
  return agent.action(async (flags: Record<string, unknown>) => {
    const config = resolveAgentConfig(sourcesOf(cli, flags), foldersOf(cli.around.env));
    const {runAgent} = await import('../../../agent/main.js');
    await runAgent(config, cli.signal);
  });
}

/** An option a setting; values are parsed with the others' by `resolveSettings`, so that all that is wrong is told at once. */
export function withSettings(command: Command, settings: Settings): Command {
  for (const [name, {summary, placeholder, fallback}] of Object.entries(settings)) {
    const shown = fallback === undefined ? summary : `${summary} (default: ${showFallback(fallback, placeholder)})`;
    command.option(placeholder === undefined ? flagOf(name) : `${flagOf(name)} <${placeholder}>`, shown);
  }
  command.option('--config <file>', 'settings (default: config.yaml in the XDG config folder, or /etc/tenfold)');
  return command.addHelpText('after', '\nEach option can also be set by TENFOLD_… in the environment and in the config file; options win.');
}

function showFallback(fallback: unknown, placeholder: string | undefined): string {
  if (Array.isArray(fallback)) return fallback.map(item => showFallback(item, placeholder)).join(',');
  if (typeof fallback === 'number' && placeholder === 'duration') return shownDuration(fallback);
  if (typeof fallback === 'object' && fallback !== null) return showHostPort(fallback as HostPort);
  return String(fallback);
}

export function sourcesOf(cli: Cli, flags: Readonly<Record<string, unknown>>): Sources {
  const {env} = cli.around;
  const config = flags.config ?? cli.globalFlags.config;
  return {flags, env, file: findConfigFile(typeof config === 'string' ? config : undefined, env)};
}
