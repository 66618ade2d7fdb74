import type {Command} from 'commander';
import {foldersOf} from '../../../shared/config.js';
import type {Cli} from '../cli.js';
import {resolveUpConfig, upSettings} from '../up/upConfig.js';
import {sourcesOf, withSettings} from './servers.js';
import {command, withExamples} from './shared.js';

/** `up`: everything on this machine. Its parts are loaded when it is asked for. */
export function upCommand(cli: Cli): Command {
  const up = withSettings(command('up', 'run everything on this machine: etcd, a coordinator, and agents; Ctrl-C stops it'), upSettings);
  withExamples(
    up,
    ['tenfold up', "this machine's GPUs, or a CPU slot"],
    ['tenfold up --agents 2 --data-dir /tmp/try', 'two agents, data elsewhere'],
  );
  return up.action(async (flags: Record<string, unknown>) => {
    const folders = foldersOf(cli.around.env);
    const config = resolveUpConfig(sourcesOf(cli, flags), folders);
    const {runUp} = await import('../up/up.js');
    await runUp(cli, config, folders);
  });
}
