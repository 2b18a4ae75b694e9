//! llama.cpp behind a few safe types. Its raw bindings are used, and not the crate's wrapper, since that always runs a
//! warm-up encoding while loading, which would count against llama.cpp.

use std::ffi::CString;
use std::path::Path;
use std::ptr::{null, null_mut};

use anyhow::{Result, bail, ensure};
use llama_cpp_sys_2 as sys;

/// A text model, its context, and the vision model where there is one.
pub struct Llama {
    model: *mut sys::llama_model,
    context: *mut sys::llama_context,
    vision: *mut sys::mtmd_context,
    n_batch: usize,
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub threads: usize,
    /// Tokens in the context.
    pub ctx: usize,
    /// Keys and values in F32 rather than F16.
    pub kv_f32: bool,
    /// Logits are wanted for each token of a batch.
    pub all_logits: bool,
    /// Weights are brought into this build's own order while loading (llama.cpp's default).
    pub repack: bool,
}

/// Tokenized text and pictures.
pub struct Chunks(*mut sys::mtmd_input_chunks);

/// A path as the library takes it.
pub fn path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.to_string_lossy().as_bytes())?)
}

impl Llama {
    /// Loads the files; nothing is computed yet.
    pub fn load(text: &Path, vision: Option<&Path>, options: Options) -> Result<Llama> {
        // SAFETY: parameters come from the library's own defaults; pointers are checked before use.
        unsafe {
            sys::llama_backend_init();
            let mut params = sys::llama_model_default_params();
            params.n_gpu_layers = 0;
            params.use_extra_bufts = options.repack;
            let model = sys::llama_model_load_from_file(path(text)?.as_ptr(), params);
            ensure!(!model.is_null(), "llama.cpp can't load {}", text.display());
            let mut params = sys::llama_context_default_params();
            // Cells are handed out in steps of 256.
            params.n_ctx = u32::try_from(options.ctx.next_multiple_of(256))?;
            params.n_batch = 2048;
            params.n_ubatch = 512;
            params.n_threads = i32::try_from(options.threads)?;
            params.n_threads_batch = params.n_threads;
            params.no_perf = true;
            // One sequence, and a second through which a long context is made up.
            params.n_seq_max = 2;
            params.kv_unified = true;
            if options.kv_f32 {
                (params.type_k, params.type_v) = (sys::GGML_TYPE_F32, sys::GGML_TYPE_F32);
            }
            // Room for one token of each sequence: room for a whole batch's would be counted as llama.cpp's memory.
            params.n_outputs_max = if options.all_logits { params.n_batch } else { 2 };
            let context = sys::llama_init_from_model(model, params);
            ensure!(!context.is_null(), "llama.cpp can't make a context of {} tokens", options.ctx);
            let mut llama = Llama { model, context, vision: null_mut(), n_batch: 2048 };
            if let Some(file) = vision {
                llama.load_vision(file, options)?;
            }
            Ok(llama)
        }
    }

    fn load_vision(&mut self, file: &Path, options: Options) -> Result<()> {
        // SAFETY: the model lives as long as `self`.
        unsafe {
            let mut params = sys::mtmd_context_params_default();
            params.use_gpu = false;
            params.warmup = false;
            params.print_timings = false;
            params.n_threads = i32::try_from(options.threads)?;
            self.vision = sys::mtmd_init_from_file(path(file)?.as_ptr(), self.model, params);
            ensure!(!self.vision.is_null(), "llama.cpp can't load {}", file.display());
            Ok(())
        }
    }

    pub fn n_vocab(&self) -> usize {
        // SAFETY: the model is loaded.
        unsafe { sys::llama_vocab_n_tokens(sys::llama_model_get_vocab(self.model)) }.max(0) as usize
    }

    /// The tokens of a text, special ones where it names them.
    pub fn tokens(&self, text: &str) -> Result<Vec<i32>> {
        let mut tokens = vec![0; text.len() + 8];
        let (length, room) = (i32::try_from(text.len())?, i32::try_from(tokens.len())?);
        // SAFETY: both lengths are those of what the pointers point to.
        let n = unsafe {
            let vocab = sys::llama_model_get_vocab(self.model);
            sys::llama_tokenize(vocab, text.as_ptr().cast(), length, tokens.as_mut_ptr(), room, true, true)
        };
        ensure!(n >= 0, "llama_tokenize says {n}");
        tokens.truncate(n as usize);
        Ok(tokens)
    }

    /// The bytes that a token stands for.
    pub fn bytes(&self, token: i32) -> Vec<u8> {
        let mut bytes = vec![0u8; 512];
        // SAFETY: the length is that of the buffer.
        let n = unsafe {
            let vocab = sys::llama_model_get_vocab(self.model);
            sys::llama_token_to_piece(vocab, token, bytes.as_mut_ptr().cast(), bytes.len() as i32, 0, true)
        };
        bytes.truncate(n.max(0) as usize);
        bytes
    }

    /// Whether an answer is over with this token.
    pub fn ends(&self, token: i32) -> bool {
        // SAFETY: the model is loaded.
        unsafe { sys::llama_vocab_is_eog(sys::llama_model_get_vocab(self.model), token) }
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        // SAFETY: the context is there.
        unsafe { sys::llama_memory_clear(sys::llama_get_memory(self.context), false) }
    }

    /// Reads tokens after what the context holds; the last one's logits are there afterwards.
    pub fn read(&mut self, tokens: &[i32]) -> Result<()> {
        for part in tokens.chunks(self.n_batch) {
            let mut part = part.to_vec();
            // SAFETY: the batch points into `part`, which outlives the call.
            let code = unsafe {
                let batch = sys::llama_batch_get_one(part.as_mut_ptr(), i32::try_from(part.len())?);
                sys::llama_decode(self.context, batch)
            };
            ensure!(code == 0, "llama_decode says {code}");
        }
        Ok(())
    }

    /// Reads tokens (at most one batch) and gives the logits of each, `[tokens, vocabulary]`.
    pub fn read_all_logits(&mut self, tokens: &[i32]) -> Result<Vec<f32>> {
        ensure!(tokens.len() <= self.n_batch, "{} tokens in one batch", tokens.len());
        let n = i32::try_from(tokens.len())?;
        // SAFETY: the batch has room for `n` tokens of one sequence each, and is freed.
        unsafe {
            let mut batch = sys::llama_batch_init(n, 0, 1);
            batch.n_tokens = n;
            for (i, &token) in tokens.iter().enumerate() {
                *batch.token.add(i) = token;
                *batch.pos.add(i) = i as i32;
                *batch.n_seq_id.add(i) = 1;
                **batch.seq_id.add(i) = 0;
                *batch.logits.add(i) = 1;
            }
            let code = sys::llama_decode(self.context, batch);
            sys::llama_batch_free(batch);
            ensure!(code == 0, "llama_decode says {code}");
        }
        let mut out = Vec::new();
        for i in 0..n {
            out.extend_from_slice(self.logits(i)?);
        }
        Ok(out)
    }

    /// Logits of token `i` of the last batch; -1 is the last.
    pub fn logits(&self, i: i32) -> Result<&[f32]> {
        // SAFETY: the library gives one number per token of the vocabulary, or null.
        unsafe {
            let p = sys::llama_get_logits_ith(self.context, i);
            ensure!(!p.is_null(), "no logits of token {i}");
            Ok(std::slice::from_raw_parts(p, self.n_vocab()))
        }
    }

    /// The likeliest next token.
    pub fn best(&self) -> Result<i32> {
        let logits = self.logits(-1)?;
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        Ok(best.unwrap_or(0) as i32)
    }

    /// Makes a context of `depth` tokens without computing them all: the keys and values of `read` tokens are copied
    /// until there are enough (a copied state gets new cells, which then are given to sequence 0). Attention reads as much
    /// as in earnest.
    pub fn deepen(&mut self, read: &[i32], depth: usize) -> Result<()> {
        self.clear();
        if depth == 0 {
            return Ok(());
        }
        ensure!(depth.is_multiple_of(read.len()), "a depth of {depth} is no multiple of {}", read.len());
        self.read(read)?;
        // SAFETY: the buffer has the size that the library asks for.
        unsafe {
            let memory = sys::llama_get_memory(self.context);
            let mut state = vec![0u8; sys::llama_state_seq_get_size(self.context, 0)];
            let n = sys::llama_state_seq_get_data(self.context, state.as_mut_ptr(), state.len(), 0);
            ensure!(n > 0, "llama.cpp can't copy its state");
            for _ in 1..depth / read.len() {
                let n = sys::llama_state_seq_set_data(self.context, state.as_ptr(), n, 1);
                ensure!(n > 0, "llama.cpp can't take its state back");
                sys::llama_memory_seq_cp(memory, 1, 0, -1, -1);
                sys::llama_memory_seq_rm(memory, 1, -1, -1);
            }
        }
        Ok(())
    }

    /// Tokenizes text with one picture of `side` × `side` pixels at the marker; resizes and normalizes it.
    pub fn tokenize(&self, text: &str, side: usize, rgb: &[u8]) -> Result<Chunks> {
        if self.vision.is_null() {
            bail!("no vision model was given");
        }
        let c_text = CString::new(text)?;
        let n = u32::try_from(side)?;
        ensure!(rgb.len() == side * side * 3, "a picture of {} bytes", rgb.len());
        // SAFETY: `rgb` has the size that is said, `c_text` outlives the call, and all that is made is freed.
        unsafe {
            let bitmap = sys::mtmd_bitmap_init(n, n, rgb.as_ptr());
            let chunks = Chunks(sys::mtmd_input_chunks_init());
            let input = sys::mtmd_input_text {
                text: c_text.as_ptr(),
                text_len: c_text.as_bytes().len(),
                add_special: true,
                parse_special: true,
            };
            let mut bitmaps = [bitmap.cast_const()];
            let code = sys::mtmd_tokenize(self.vision, chunks.0, &input, bitmaps.as_mut_ptr(), 1);
            sys::mtmd_bitmap_free(bitmap);
            ensure!(code == 0, "mtmd_tokenize says {code}");
            Ok(chunks)
        }
    }

    /// Runs the vision model on the picture among `chunks`; returns its tokens.
    pub fn encode(&mut self, chunks: &Chunks) -> Result<usize> {
        // SAFETY: the chunks are those of this model.
        unsafe {
            for i in 0..sys::mtmd_input_chunks_size(chunks.0) {
                let chunk = sys::mtmd_input_chunks_get(chunks.0, i);
                if sys::mtmd_input_chunk_get_type(chunk) == sys::MTMD_INPUT_CHUNK_TYPE_IMAGE {
                    let code = sys::mtmd_encode_chunk(self.vision, chunk);
                    ensure!(code == 0, "mtmd_encode_chunk says {code}");
                    return Ok(sys::mtmd_input_chunk_get_n_tokens(chunk));
                }
            }
        }
        bail!("no picture among the chunks")
    }

    /// Encodes and reads all chunks into an empty context.
    pub fn evaluate(&mut self, chunks: &Chunks) -> Result<()> {
        self.clear();
        let mut past = 0;
        // SAFETY: the chunks are those of this model.
        let code =
            unsafe { sys::mtmd_helper_eval_chunks(self.vision, self.context, chunks.0, 0, 0, 512, true, &mut past) };
        ensure!(code == 0, "mtmd_helper_eval_chunks says {code}");
        Ok(())
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        // SAFETY: each was made by the library and is freed once, the users before what they use.
        unsafe {
            if !self.vision.is_null() {
                sys::mtmd_free(self.vision);
            }
            sys::llama_free(self.context);
            sys::llama_model_free(self.model);
        }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        // SAFETY: made by the library, freed once.
        unsafe { sys::mtmd_input_chunks_free(self.0) }
    }
}

/// Sends the library's talk nowhere.
pub fn hush() {
    unsafe extern "C" fn nothing(_: sys::ggml_log_level, _: *const std::ffi::c_char, _: *mut std::ffi::c_void) {}
    // SAFETY: the callback keeps nothing.
    unsafe {
        sys::llama_log_set(Some(nothing), null_mut());
        sys::mtmd_helper_log_set(Some(nothing), null_mut());
    }
}

/// What this build of llama.cpp uses of the processor, such as `AVX512_VNNI`.
pub fn features() -> String {
    // SAFETY: the library returns a static string.
    let text = unsafe {
        let p = sys::llama_print_system_info();
        if p == null() { String::new() } else { std::ffi::CStr::from_ptr(p).to_string_lossy().into_owned() }
    };
    let on = text.split(['|', ':']).filter_map(|part| part.trim().strip_suffix(" = 1"));
    on.collect::<Vec<_>>().join(" ")
}
