/** What the demo was asked for. */
export interface DemoArguments {
  readonly help: boolean;
  /** A data.yaml of the user's own, as written; undefined: the demo's scenes. */
  readonly data: string | undefined;
  /** Where the results go, as written. */
  readonly out: string | undefined;
  /** Parts of the job spec, `key=value`; later ones win. */
  readonly words: readonly string[];
}

/** On two cores without a GPU these end in a few minutes. Whatever the user gives wins. */
const DEFAULT_WORDS = ['model=yolov8n', 'epochs=12', 'imgsz=160', 'batch=16', 'close_mosaic=3'];

export const DEMO_HELP = `npm run demo [-- [--data data.yaml] [--out folder] [key=value …]]

Trains YOLOv8n on two agents of this machine: a private etcd, a coordinator, two agents with one device each, and a
trainer process a device that exchange gradients; on a machine with one GPU, one of each. Without --data it trains on
scenes made of Debian's Fashion-MNIST.

  npm run demo
  npm run demo -- --data path/to/data.yaml model=yolov8s epochs=5 imgsz=320 batch=16

  --data data.yaml   a YOLO data set of your own
  --out folder       where the results go (default: tenfold-run/ and the job's name)
  key=value          as in \`tenfold submit\`; the demo's own are ${DEFAULT_WORDS.join(' ')}
                     gpus=2 (gpus=1 on a machine with one GPU)

Ctrl-C stops everything and leaves nothing behind but the demo's pictures, which the next run finds again.`;

/** The cluster that a machine with so many GPUs can show: one agent a device. */
export interface DemoCluster {
  readonly agents: number;
  /** What `tenfold up` is told of it. */
  readonly upFlags: readonly string[];
}

export function demoCluster(gpus: number): DemoCluster {
  if (gpus === 0) return {agents: 2, upFlags: ['--agents', '2', '--cpu-slots', '1']};
  const agents = Math.min(2, gpus);
  return {agents, upFlags: ['--agents', String(agents)]};
}

/** Parses the demo's arguments. Throws with what to do when one is not known. */
export function parseArguments(args: readonly string[]): DemoArguments {
  let [data, out, help]: [string | undefined, string | undefined, boolean] = [undefined, undefined, false];
  const words: string[] = [];
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    const [flag, inline] =
      arg.startsWith('--') && arg.includes('=') ? [arg.slice(0, arg.indexOf('=')), arg.slice(arg.indexOf('=') + 1)] : [arg, undefined];
    const value = (): string => {
      const given = inline ?? rest.shift();
      if (given === undefined || given === '') throw new Error(`${flag} needs a value; npm run demo -- --help shows how`);
      return given;
    };
    if (flag === '--help' || flag === '-h') help = true;
    else if (flag === '--data') data = value();
    else if (flag === '--out') out = value();
    else if (!arg.startsWith('-') && arg.includes('=')) words.push(arg);
    else throw new Error(`the demo does not know ${arg}; npm run demo -- --help shows what it knows`);
  }
  return {help, data, out, words: [...DEFAULT_WORDS, ...words]};
}
