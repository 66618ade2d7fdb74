import type {DatasetRecord} from '../../shared/dataset.js';
import {datasetId, idFromResourceName} from '../../shared/ids.js';
import type {JobSpec, SpecProblem} from '../../shared/jobSpec.js';
import {nearest} from '../../shared/suggest.js';
import type {Snapshot} from './snapshot.js';

/**
 * What is wrong with a job spec that parsing alone cannot know: it is held against the registered data sets. What merely has to wait is
 * no problem here: a data set that is still being registered, or more devices than the cluster has, are reasons to wait (queue.ts).
 */
export function validateJob(spec: JobSpec, datasets: Snapshot['datasets']): SpecProblem[] {
  const id = referredDataset(spec.data);
  if (id === undefined) return [];
  const dataset = datasets.get(id)?.value;
  return dataset === undefined ? [unknownDataset(id, datasets)] : problemsWithDataset(spec, dataset);
}

/** The id when `data` names a registered data set; undefined when it is the path of a data.yaml, to be registered on the way. */
export function referredDataset(data: string): string | undefined {
  if (!data.startsWith('datasets/') || /\.ya?ml$/i.test(data)) return undefined;
  const id = idFromResourceName('datasets', data);
  return id === undefined ? undefined : datasetId(id);
}

function unknownDataset(id: string, datasets: Snapshot['datasets']): SpecProblem {
  const known = [...datasets.keys()].sort();
  const suggestion = nearest(id, known);
  const hint =
    suggestion === undefined
      ? 'register it with `tenfold dataset add`, or give the path of its data.yaml'
      : `did you mean datasets/${suggestion}?`;
  return {path: 'data', message: `there is no data set datasets/${id}; ${hint}`};
}

/** In one line: the first error, how many more there are, and where to read them. */
export function whyUnusable(id: string, {problems, problemCounts}: Extract<DatasetRecord['status'], {state: 'failed'}>): string {
  const errors = problems.filter(problem => problem.severity === 'error');
  const [first] = errors;
  const count = [...new Set(errors.map(({code}) => code))].reduce((sum, code) => sum + (problemCounts[code] ?? 1), 0);
  const place = first === undefined || first.line === 0 ? first?.file : `${first.file}:${first.line}`;
  const told = first === undefined ? '' : `: ${place}: ${first.message} (${first.code})`;
  const rest = count > 1 ? `, and ${count - 1} more` : '';
  return `datasets/${id} could not be registered${told}${rest}; \`tenfold dataset get ${id}\` lists what is wrong`;
}

function problemsWithDataset(spec: JobSpec, {id, status}: DatasetRecord): SpecProblem[] {
  if (status.state === 'registering') return [];
  if (status.state === 'failed') return [{path: 'data', message: whyUnusable(id, status)}];
  const problems: SpecProblem[] = [];
  const {nc} = spec.model;
  if (nc !== 'auto' && nc !== status.classNames.length)
    problems.push({
      path: 'model.nc',
      message: `${nc} classes, but datasets/${id} has ${status.classNames.length}; leave it out to take the data set's`,
    });
  const train = status.splits.find(split => split.name === 'train')?.samples ?? 0;
  if (train < spec.resources.gpus)
    problems.push({
      path: 'resources.gpus',
      message: `${spec.resources.gpus} devices for the ${train} training images of datasets/${id}; every rank needs one`,
    });
  if (spec.train.val && !status.splits.some(split => split.name === 'val' && split.samples > 0))
    problems.push({
      path: 'train.val',
      message: `datasets/${id} has no validation images; set it to false, or register the data set with a val split`,
    });
  return problems;
}
