/** The words a patch is held against while the base model trains, and the default prompts of a new bundle. */
export const BASE_WORDS = {
  good: ["a photo of a flawless surface", "a surface without defects", "a close-up of a perfect part", "even material in good condition"],
  bad: ["a photo of a surface with a defect", "a damaged surface", "a close-up of a part with a flaw", "material with damage"],
};
