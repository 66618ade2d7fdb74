/**
 * Those of a machine's GPUs that CUDA_VISIBLE_DEVICES leaves visible; undefined: all of them. nvidia-smi shows them all, whatever the variable
 * says. Its entries are indices, counted as nvidia-smi does, or beginnings of UUIDs; as CUDA does, it ends at the first one that names none.
 */
export function visibleGpus<T extends {readonly index: number; readonly uuid: string}>(
  gpus: readonly T[],
  visible: string | undefined,
): readonly T[] {
  if (visible === undefined) return gpus;
  const named = visible.split(',').map(entry => gpuNamed(gpus, entry.trim()));
  const end = named.indexOf(undefined);
  const seen = new Set(end < 0 ? named : named.slice(0, end));
  return gpus.filter(gpu => seen.has(gpu));
}

function gpuNamed<T extends {readonly index: number; readonly uuid: string}>(gpus: readonly T[], entry: string): T | undefined {
  if (/^\d+$/.test(entry)) return gpus.find(gpu => gpu.index === Number(entry));
  return /^(GPU|MIG)-/.test(entry) ? gpus.find(gpu => gpu.uuid.startsWith(entry)) : undefined;
}
