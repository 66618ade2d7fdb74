import {type Given, wholeNumber} from '../options.js';

export interface BenchArguments {
  readonly data: string;
  readonly model: string;
  readonly epochs: number;
  readonly imgsz: number;
  readonly batch: number;
  readonly seeds: readonly number[];
  readonly ranks: number;
  /** Threads of each rank. */
  readonly threads: number;
  /** Curves of reference runs: a csv with the columns run, epoch, map50, map50_95. */
  readonly curves: string | undefined;
  readonly learns: boolean;
  readonly speed: boolean;
  readonly rounds: number;
}

export const HELP = `npm run bench:train -- --data DATA [options]

Trains from scratch with the native trainer alone, prints mAP by epoch beside a reference's curve, and then how much of its own
forward-and-backward rate the whole training loop reaches.

  --data PATH       a YOLO data.yaml, or the folder that holds one
  --model NAME      yolov8n (default), yolov5n, yolov10n, … or a model yaml
  --epochs N        30        --imgsz N   320        --batch N   16 (of all ranks together; nbs is the same)
  --seeds A,B       0,1       each is a training of its own; the mean of their last five epochs counts
  --ranks N         1         --threads N   cores / ranks
  --curves FILE     csv of run,epoch,map50,map50_95; the run is called "v8n on NAME", NAME being the folder of data.yaml
                    (default: ../shared/reference/curves.csv where there is one)
  --only learn      no speeds;  --only speed   no learning
  --rounds N        3         rounds of the speed measurement

SGD, lr0 0.01, no close_mosaic, all else as it comes.

Epoch by epoch mAP is pycocotools'. References that were taken with the published YOLO trainers have another, a little higher: their
average precision counts a straight line down to recall 1. So the last five epochs' weights are validated by their rule as well, and
the sums compare like with like.`;

/** Throws with what is wrong. */
export function benchArguments(given: Given, cores: number): BenchArguments {
  if (given.data === undefined) throw new Error('--data is missing: which data set?');
  const seeds = (given.seeds ?? '0,1').split(',').map(Number);
  if (!seeds.every(Number.isInteger)) throw new Error(`--seeds must be whole numbers separated by commas, not ${given.seeds}`);
  if (given.only !== undefined && given.only !== 'learn' && given.only !== 'speed')
    throw new Error(`--only is learn or speed, not ${given.only}`);
  const ranks = wholeNumber(given, 'ranks', 1);
  return {
    data: given.data,
    model: given.model ?? 'yolov8n',
    epochs: wholeNumber(given, 'epochs', 30),
    imgsz: wholeNumber(given, 'imgsz', 320),
    batch: wholeNumber(given, 'batch', 16),
    seeds,
    ranks,
    threads: wholeNumber(given, 'threads', Math.max(1, Math.floor(cores / ranks))),
    curves: given.curves,
    learns: given.only !== 'speed',
    speed: given.only !== 'learn',
    rounds: wholeNumber(given, 'rounds', 3),
  };
}
