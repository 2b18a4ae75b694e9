//! The code to end with, by the error of each room.

use std::io;

use super::Exit;
use crate::cli::settings::SettingsError;
use crate::convert::ConvertError;
use crate::gguf::GgufError;
use crate::kernels::KernelError;
use crate::media::{MediaError, MediaErrorKind};
use crate::model::ModelError;
use crate::quantize::QuantizeError;
use crate::session::{LoadError, SessionError};
use crate::store::StoreError;
use crate::text::TextError;

pub fn settings(e: &SettingsError) -> Exit {
    match e {
        SettingsError::Io { source, .. } => input(source),
        SettingsError::Write { .. } => Exit::Io,
        SettingsError::Toml { .. } | SettingsError::Value { .. } => Exit::BadData,
    }
}

pub fn store(e: &StoreError) -> Exit {
    match e {
        StoreError::Name { .. } | StoreError::Endpoint { .. } => Exit::Usage,
        StoreError::NoSuchType { .. } | StoreError::Status { status: 401 | 403 | 404, .. } => Exit::NoModel,
        StoreError::Io { .. }
        | StoreError::Offline
        | StoreError::Unreachable { .. }
        | StoreError::Status { .. }
        | StoreError::Answer { .. }
        | StoreError::Broken { .. }
        | StoreError::Length { .. }
        | StoreError::Checksum { .. }
        | StoreError::Space { .. }
        | StoreError::Busy { .. } => Exit::Io,
    }
}

pub fn convert(e: &ConvertError) -> Exit {
    match e {
        ConvertError::Io { source, .. } => input(source),
        // What was read is no GGUF file: this is about the one that is written.
        ConvertError::Gguf(GgufError::Io { .. }) => Exit::Io,
        ConvertError::Types(e) => quantize(e),
        _ => Exit::BadData,
    }
}

pub fn gguf(e: &GgufError) -> Exit {
    match e {
        GgufError::Io { source, .. } => input(source),
        _ => Exit::BadData,
    }
}

pub fn quantize(e: &QuantizeError) -> Exit {
    match e {
        QuantizeError::Gguf(e) => gguf(e),
        QuantizeError::Read { source, .. } => input(source),
        QuantizeError::BuiltWithout { .. } => Exit::Failed,
        QuantizeError::NoTarget { .. } | QuantizeError::Requantize { .. } | QuantizeError::NeedsImportance { .. } => {
            Exit::Usage
        }
        QuantizeError::Architecture { .. }
        | QuantizeError::NoEntry { .. }
        | QuantizeError::EntryLength { .. }
        | QuantizeError::Weight { .. }
        | QuantizeError::Importance { .. } => Exit::BadData,
    }
}

/// For a file that was named and could not be read.
pub fn input(e: &io::Error) -> Exit {
    use io::ErrorKind as K;
    match e.kind() {
        K::NotFound | K::PermissionDenied | K::IsADirectory | K::NotADirectory | K::InvalidFilename => Exit::NoInput,
        K::InvalidData | K::UnexpectedEof => Exit::BadData,
        _ => Exit::Io,
    }
}

pub fn media(e: &MediaError) -> Exit {
    match e.kind() {
        MediaErrorKind::NoInput => Exit::NoInput,
        MediaErrorKind::BadContent => Exit::BadData,
        MediaErrorKind::Io => Exit::Io,
        MediaErrorKind::Usage => Exit::Usage,
        MediaErrorKind::Missing => Exit::Failed,
    }
}

pub fn load(e: &LoadError) -> Exit {
    match e {
        LoadError::Gguf(e) => gguf(e),
        LoadError::Model(e) => model(e),
        LoadError::Text { .. } | LoadError::Vocabulary { .. } | LoadError::Pair { .. } => Exit::BadData,
        LoadError::Kernel(e) => kernel(e),
    }
}

pub fn kernel(e: &KernelError) -> Exit {
    match e {
        KernelError::UnknownIsa { .. } => Exit::Usage,
        _ => Exit::Failed,
    }
}

pub fn model(e: &ModelError) -> Exit {
    match e {
        ModelError::Gguf(e) => gguf(e),
        ModelError::Kernel(e) => kernel(e),
        ModelError::Interrupted => Exit::Interrupted,
        _ => Exit::BadData,
    }
}

pub fn session(e: &SessionError) -> Exit {
    match e {
        SessionError::Load(e) => load(e),
        SessionError::Model(e) => model(e),
        SessionError::Media(e) => media(e),
        // These are about what was asked; all others about what the file holds.
        SessionError::Text(TextError::ConversationLength { .. } | TextError::NoSentinel) => Exit::Failed,
        SessionError::Text(_) => Exit::BadData,
        SessionError::NoMmproj { .. } | SessionError::MediaTokens { .. } => Exit::NoModel,
        SessionError::ContextFull { .. } | SessionError::Absent { .. } => Exit::Failed,
        SessionError::Grammar(_) => Exit::BadData,
        SessionError::Stuck { .. } | SessionError::Unfinished { .. } => Exit::Failed,
        SessionError::Interrupted => Exit::Interrupted,
    }
}
